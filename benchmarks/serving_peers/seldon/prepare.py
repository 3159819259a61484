"""Save the forest as a file."""

import sys
from pathlib import Path

import joblib
from forest import train

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
joblib.dump(train(), folder / "forest.joblib")
