//! A Salesforce org and a Gainsight tenant on loopback.
