"""ALE (Akata et al., CVPR 2013): DEVISE with violations weighted by the target's rank; see bilinear.py and configs/ale.py."""

from er_jax.models.bilinear import ranking_method
from er_jax.models.spec import MethodSpec

METHOD: MethodSpec = ranking_method("ale", title="ALE", paper="Akata et al., CVPR 2013", year=2013)
