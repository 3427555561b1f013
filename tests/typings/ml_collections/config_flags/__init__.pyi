from .config_flags import DEFINE_config_file as DEFINE_config_file
