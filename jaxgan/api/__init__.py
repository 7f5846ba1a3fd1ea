"""Use jaxgan from Python: `import jaxgan` offers all public names of this room.

`settings` reads configs, `images` loads data, `training` trains, `trained` restores runs,
`evaluation` measures generated images. Each takes and gives numpy arrays.
"""
