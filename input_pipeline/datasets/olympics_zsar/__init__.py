"""olympics_zsar: Olympic Sports (Niebles et al. 2010), random halves of its 16 classes seen.

README.md here says where the videos are, how to convert them and how the folder looks.
"""

import functools
from pathlib import Path

from input_pipeline import class_folders
from input_pipeline.dataset_spec import DatasetSpec

HINTS = {".seq": "Olympic Sports is published as .seq files, which FFmpeg does not decode. Convert them to .mp4 first; "
                 "input_pipeline/datasets/olympics_zsar/README.md says how."}

DATASET = DatasetSpec(
    summary="16 sports, random halves of them seen",
    readme=Path(__file__).with_name("README.md"),
    size="small",
    num_videos=783,
    read=functools.partial(class_folders.read, "olympics", hints=HINTS),
    options=class_folders.OPTIONS,
    features_from="videos",
    reads_features=True,
)
