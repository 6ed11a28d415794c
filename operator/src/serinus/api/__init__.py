"""The InferenceService API: its types, and the CustomResourceDefinition made from them."""
