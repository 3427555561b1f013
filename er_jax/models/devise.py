"""DEVISE (Frome et al., NIPS 2013): hinge ranking of the video's class above all others; see bilinear.py and configs/devise.py."""

from er_jax.models.bilinear import ranking_method
from er_jax.models.spec import MethodSpec

METHOD: MethodSpec = ranking_method("devise", title="DEVISE", paper="Frome et al., NIPS 2013", year=2013)
