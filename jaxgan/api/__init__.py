"""Use jaxgan from Python: `import jaxgan` has all public names.

`settings` reads configs, `images` loads data, `training` trains, `trained` restores runs,
`evaluation` measures generated images. All take and return numpy arrays.
"""
