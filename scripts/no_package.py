"""What `pip install .` runs (see pyproject.toml): the service runs in its folder, so there is nothing to install."""

import sys
from typing import NoReturn

MESSAGE = """\
This service is not a package: it is run from its folder. `make run` does everything, or install what it needs with
    pip install --require-hashes -r requirements.txt
and start it with `python app.py`."""


def _refuse(*_: object, **__: object) -> NoReturn:
    print(MESSAGE, file=sys.stderr)
    sys.exit(1)


# All that an installer may ask first of a build backend.
build_wheel = build_sdist = build_editable = _refuse
get_requires_for_build_wheel = get_requires_for_build_sdist = get_requires_for_build_editable = _refuse
prepare_metadata_for_build_wheel = prepare_metadata_for_build_editable = _refuse
