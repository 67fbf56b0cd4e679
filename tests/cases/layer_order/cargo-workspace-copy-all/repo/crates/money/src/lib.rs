pub struct Cents(pub i64);
