//! What every network offers, and the networks.
