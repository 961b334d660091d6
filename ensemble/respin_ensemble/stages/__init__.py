"""One module a stage. Stages take and return photos, boxes and masks; tensors with batch axes never leave them."""
