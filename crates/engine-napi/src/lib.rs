//! Binding of the engine for Node.js: conversions only.
