//! The `CacheBinding` resource.
