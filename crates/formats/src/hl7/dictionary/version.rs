//! The versions of HL7 v2, in order.

use std::fmt;

macro_rules! versions {
    ($($variant:ident $text:literal),* $(,)?) => {
        /// A version of the standard. Later versions compare greater.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(non_camel_case_types, reason = "the dots of a version number have to become something")]
        pub enum Version {
            $(#[doc = concat!("Version ", $text, ".")] $variant,)*
        }

        impl Version {
            /// All versions, oldest first.
            pub const ALL: &[Version] = &[$(Version::$variant),*];

            /// The version MSH-12.1 names, `None` when it is none of them.
            pub fn parse(text: &str) -> Option<Version> {
                match text {
                    $($text => Some(Version::$variant),)*
                    // Drafts that were in use under these names.
                    "2.0" | "2.0D" => Some(Version::V2_1),
                    "2.3.2" => Some(Version::V2_3_1),
                    _ => None,
                }
            }

            /// As MSH-12.1 has it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Version::$variant => $text,)*
                }
            }
        }
    };
}

versions! {
    V2_1 "2.1", V2_2 "2.2", V2_3 "2.3", V2_3_1 "2.3.1", V2_4 "2.4", V2_5 "2.5", V2_5_1 "2.5.1", V2_6 "2.6",
    V2_7 "2.7", V2_7_1 "2.7.1", V2_8 "2.8", V2_8_1 "2.8.1", V2_8_2 "2.8.2",
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_reads_back_from_its_own_text() {
        for version in Version::ALL {
            assert_eq!(Version::parse(version.as_str()), Some(*version));
        }
        assert!(Version::V2_3_1 > Version::V2_3 && Version::V2_8 > Version::V2_7_1);
        assert_eq!(Version::parse("3.0"), None);
    }
}
