"""The scripts, styles and icons of the desk's pages."""

from flask import Blueprint, Response, request, send_from_directory

from routes.http import assets
from routes.http.operation import needs

blueprint = Blueprint("desk_assets", __name__)

# A file's address changes with the file.
_FOR_EVER = "public, max-age=31536000, immutable"


@blueprint.get(f"{assets.PATH}/<path:name>")
@needs("nothing")  # the page to sign in and errors look like the others
def get_asset(name: str) -> Response:
    """A file that pages load."""
    found = send_from_directory(assets.FOLDER, name)
    # Under another version, as a page of another release asks for, it would be kept for what it is not.
    if request.full_path == assets.asset_url(name):
        found.headers["Cache-Control"] = _FOR_EVER
    return found
