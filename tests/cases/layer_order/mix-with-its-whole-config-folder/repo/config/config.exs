import Config
import_config "hooks.exs"
