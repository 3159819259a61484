"""From a trained challenger to a judged, registered champion."""
