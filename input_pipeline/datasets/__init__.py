"""The datasets that there are, by name: one module or package each, which says all about itself.

    DATASETS.names()                                                      # ["hmdb51_zsar", ...]
    DATASETS.load("ucf101_zsar").raw_dataset(source, metadata=folder)     # `load` gives a DatasetSpec

To add one, add NAME.py, or NAME/__init__.py, with `DATASET = DatasetSpec(...)` (input_pipeline/dataset_spec.py), and a
README.
"""

from input_pipeline.registry import Registry

DATASETS = Registry("input_pipeline.datasets", "DATASET", "dataset")
