"""The simulated street, its ground truth and its settings; import the module that you need."""
