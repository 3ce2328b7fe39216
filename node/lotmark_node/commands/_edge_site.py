"""What the commands about an edge site share: how it is named."""

from pathlib import Path
from typing import Annotated

import typer

SiteFile = Annotated[
    Path,
    typer.Argument(
        metavar="SITE.toml",
        help="The site's settings, as `lotmark edge browse` or `probe` wrote, or your own.",
    ),
]
