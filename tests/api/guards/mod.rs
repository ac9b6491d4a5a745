//! What keeps the service up and its accounts closed: connections, rates, tries, messages.

mod connections;
mod rates;
