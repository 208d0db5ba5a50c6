"""Names of the files of arrays that a run keeps in its folder for its report; loads no torch."""

#: Similarities of the embeddings of test images.
RELATIONS = "relations.npz"
#: Linear CKA of the layers of two networks.
LAYERS = "layers.npz"
#: Test images with their masks.
OVERLAYS = "overlays.npz"
#: Pictures and Grad-CAM maps of the errors that networks are surest of.
ERRORS = "errors.npz"
