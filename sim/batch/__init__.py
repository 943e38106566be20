"""Many scenarios on the same draws, kept in a folder; local and dask execution, sensitivity, merge."""
