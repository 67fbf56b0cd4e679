/// The page with a greeting and the number of the request.
pub fn page(greeting: &str, number: &str) -> String {
    format!("<p>{greeting}, {number}</p>\n")
}
