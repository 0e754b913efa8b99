//! The payload of messages, as far as an edge node that only reads needs it.
//!
//! Fields that are not here, such as data sets and templates, are skipped when a command is decoded.
//! Source: Eclipse Sparkplug 3.0.0, chapter 6.4.1 (Google Protocol Buffer Schema).

use prost::{Message, Oneof};

/// The payload of a message.
#[derive(Clone, PartialEq, Message)]
pub struct Payload {
    /// When it was sent, in milliseconds since 1970.
    #[prost(uint64, optional, tag = "1")]
    pub timestamp: Option<u64>,
    /// The metrics.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
    /// The sequence number; an NDEATH has none.
    #[prost(uint64, optional, tag = "3")]
    pub seq: Option<u64>,
}

/// A value with what it needs to be understood.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// Its name; data has only the alias.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// The number that stands for the name.
    #[prost(uint64, optional, tag = "2")]
    pub alias: Option<u64>,
    /// When the value was taken, in milliseconds since 1970.
    #[prost(uint64, optional, tag = "3")]
    pub timestamp: Option<u64>,
    /// Number of a data type; births only.
    #[prost(uint32, optional, tag = "4")]
    pub datatype: Option<u32>,
    /// Whether a newer value was sent before.
    #[prost(bool, optional, tag = "5")]
    pub is_historical: Option<bool>,
    /// Whether there is no value.
    #[prost(bool, optional, tag = "7")]
    pub is_null: Option<bool>,
    /// Unit and quality.
    #[prost(message, optional, tag = "9")]
    pub properties: Option<PropertySet>,
    /// The value.
    #[prost(oneof = "MetricValue", tags = "10, 11, 12, 13, 14, 15")]
    pub value: Option<MetricValue>,
}

/// The value of a metric.
#[derive(Clone, PartialEq, Oneof)]
pub enum MetricValue {
    /// Int32, in two's complement.
    #[prost(uint32, tag = "10")]
    Int(u32),
    /// Int64, in two's complement, or UInt64.
    #[prost(uint64, tag = "11")]
    Long(u64),
    /// Float.
    #[prost(float, tag = "12")]
    Float(f32),
    /// Double.
    #[prost(double, tag = "13")]
    Double(f64),
    /// Boolean.
    #[prost(bool, tag = "14")]
    Boolean(bool),
    /// String.
    #[prost(string, tag = "15")]
    String(String),
}

/// Properties, each key with the value at the same place.
#[derive(Clone, PartialEq, Message)]
pub struct PropertySet {
    /// Names.
    #[prost(string, repeated, tag = "1")]
    pub keys: Vec<String>,
    /// Values.
    #[prost(message, repeated, tag = "2")]
    pub values: Vec<PropertyValue>,
}

/// The value of a property.
#[derive(Clone, PartialEq, Message)]
pub struct PropertyValue {
    /// Number of a data type.
    #[prost(uint32, optional, tag = "1")]
    pub datatype: Option<u32>,
    /// The value itself.
    #[prost(oneof = "PropertyValueKind", tags = "3, 8")]
    pub value: Option<PropertyValueKind>,
}

/// The value of a property itself.
#[derive(Clone, PartialEq, Oneof)]
pub enum PropertyValueKind {
    /// Int32.
    #[prost(uint32, tag = "3")]
    Int(u32),
    /// String.
    #[prost(string, tag = "8")]
    String(String),
}
