//! An edge node of Sparkplug B. The tests are named in docs/sparkplug.md beside the rules they show.

mod edge_node;
