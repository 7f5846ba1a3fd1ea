"""Folders, DICOM, values, splits. Everything that turns the images of a source into sets."""
