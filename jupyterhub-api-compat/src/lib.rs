//! What the outside sees: models, request bodies, pagination, errors, endpoints
