//! What every type of event means, for those who read histories: made of the declarations of the events themselves.

use std::fmt::Write as _;

use aggregates::event::Level;

use super::page::whole;
use crate::http::problem::escaped;
use crate::store::event_kinds;

pub(super) fn html() -> String {
    let mut body = String::from(
        "<h1>What events mean</h1>\n\
         <p>A history is a list of events. What one of them once meant, it means for ever. Fields that are about a person \
         are sealed under that person's key: once the person is erased they are <code>null</code>, and the event says \
         <code>erased</code>. Every bundle of a history carries what it needs of this page along, as <code>meaning</code>.</p>\n",
    );
    for kind in event_kinds() {
        // Writing into a String cannot fail.
        let _ = write!(
            body,
            "<h2 id=\"{0}\"><code>{0}</code></h2>\n<p>{1}</p>\n",
            escaped(kind.name),
            escaped(kind.about.trim())
        );
        if kind.fields.is_empty() {
            continue;
        }
        body.push_str("<div class=\"table\"><table>\n");
        for ((field, level), meaning) in kind.fields.iter().zip(kind.meanings) {
            let sealed = match level {
                Level::Fact => "",
                Level::Person => " Sealed until the person is erased.",
                Level::Address => " Sealed until the address is unblocked.",
            };
            let _ = writeln!(
                body,
                "<tr><th><code>{}</code></th><td>{}{sealed}</td></tr>",
                escaped(field),
                escaped(meaning.trim())
            );
        }
        body.push_str("</table></div>\n");
    }
    body.push_str("<p><a href=\"/docs\">The whole API</a></p>\n");
    whole("What events mean", &body)
}
