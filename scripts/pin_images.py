"""Name the images that ours are built on by their digests: `make images` (needs Docker, and the registry).

It asks for the digest that each tag has now, and writes it behind the tag in Dockerfile and docker-compose.yml. From
then on a build takes the same bytes until this is run again.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# By file, what stands before the name of an image that is not ours.
PLACES = {"Dockerfile": "ARG PYTHON_IMAGE=", "docker-compose.yml": "image: (?=postgres:)"}
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def main(folder: Path = ROOT) -> int:
    """Write the digests. Returns the status: 1, and nothing is written, if one cannot be had."""
    written = {}
    for name, before in PLACES.items():
        text = (folder / name).read_text()
        place = re.compile(rf"({before})([^\s@]+)(@{DIGEST.pattern})?$", re.MULTILINE)
        for image in sorted({match[2] for match in place.finditer(text)}):
            digest = digest_of(image)
            if digest is None:
                return 1
            text = place.sub(rf"\g<1>\g<2>@{digest}", text)
            print(f"{name}: {image}@{digest}")
        written[name] = text
    for name, text in written.items():
        (folder / name).write_text(text)
    return 0


def digest_of(image: str) -> str | None:
    """The digest of an image for all architectures; None, and a line that says why, if it cannot be had."""
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        print(f"Docker cannot be run: {error.strerror}", file=sys.stderr)
        return None
    found = asked.stdout.strip()
    if asked.returncode or not DIGEST.fullmatch(found):
        print(f"{image}: {asked.stderr.strip() or found or 'no digest'}", file=sys.stderr)
        return None
    return found


if __name__ == "__main__":
    sys.exit(main())
