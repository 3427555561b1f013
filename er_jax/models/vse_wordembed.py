"""VSE on word vectors: the same model, its texts read by a tower on the dataset's word list."""

import dataclasses

from er_jax.models import vse
from er_jax.models.spec import MethodSpec

METHOD: MethodSpec = dataclasses.replace(vse.METHOD, title="VSE (word vectors)")
