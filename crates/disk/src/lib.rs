//! Sources of disk blocks, extents, and the reading pipeline.
