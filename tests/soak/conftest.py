"""The fixtures of the integration tests, which are all that a soak needs."""

import importlib.util
import pathlib
import sys

integration = pathlib.Path(__file__).resolve().parents[1] / "integration"
sys.path.insert(0, str(integration))
spec = importlib.util.spec_from_file_location("integration_conftest", integration / "conftest.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
globals().update({name: value for name, value in vars(module).items() if not name.startswith("__")})
