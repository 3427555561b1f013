"""SJE (Akata et al., CVPR 2015): DEVISE with the worst violation alone; see bilinear.py and configs/sje.py."""

from er_jax.models.bilinear import ranking_method
from er_jax.models.spec import MethodSpec

METHOD: MethodSpec = ranking_method("sje", title="SJE", paper="Akata et al., CVPR 2015", year=2015)
