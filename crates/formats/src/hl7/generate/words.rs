//! Made-up people, places and codes. No list here is taken from real data.

/// Syllables that names are built from.
pub(super) const SYLLABLES: [&str; 32] = [
    "ba", "be", "bo", "da", "del", "do", "fa", "fen", "ga", "gor", "ha", "hil", "ka", "ken", "la", "lo",
    "lum", "ma", "mer", "mi", "na", "nor", "pa", "pel", "ra", "rin", "sa", "sol", "ta", "tor", "va", "wen",
];

/// Endings of family names.
pub(super) const ENDINGS: [&str; 8] = ["dale", "er", "field", "ing", "mark", "sen", "ski", "well"];

/// Words of notes.
pub(super) const WORDS: [&str; 24] = [
    "patient",
    "reports",
    "no",
    "change",
    "since",
    "last",
    "visit",
    "sample",
    "received",
    "in",
    "good",
    "order",
    "plan",
    "discussed",
    "follow",
    "up",
    "after",
    "two",
    "weeks",
    "rest",
    "fluids",
    "advised",
    "synthetic",
    "text",
];

/// Tests of a panel: code and name, unit, range, lowest and highest value made, in tenths.
pub(super) const RESULTS: [(&str, &str, &str, u32, u32); 10] = [
    ("NA^Sodium^L", "mmol/L", "135-145", 1300, 1500),
    ("K^Potassium^L", "mmol/L", "3.5-5.1", 30, 60),
    ("CL^Chloride^L", "mmol/L", "98-107", 950, 1100),
    ("GLU^Glucose^L", "mg/dL", "70-99", 600, 1800),
    ("CREA^Creatinine^L", "mg/dL", "0.6-1.3", 5, 30),
    ("HGB^Hemoglobin^L", "g/dL", "12-17", 90, 180),
    ("WBC^Leukocytes^L", "10*9/L", "4-11", 30, 150),
    ("PLT^Platelets^L", "10*9/L", "150-400", 1000, 5000),
    ("TEMP^Body temperature^L", "Cel", "36-38", 355, 405),
    ("HR^Heart rate^L", "/min", "50-100", 450, 1500),
];

/// Panels that are ordered.
pub(super) const PANELS: [&str; 5] = [
    "BMP^Basic panel^L",
    "CBC^Blood count^L",
    "LIP^Lipid panel^L",
    "UA^Urinalysis^L",
    "CXR^Chest film^L",
];

/// Diagnoses in a code system of our own.
pub(super) const DIAGNOSES: [&str; 6] = [
    "D10^Chest pain^L",
    "D20^Fracture of wrist^L",
    "D30^Pneumonia^L",
    "D40^Migraine^L",
    "D50^Asthma^L",
    "D60^Observation^L",
];

/// Procedures.
pub(super) const PROCEDURES: [&str; 4] = [
    "R10^Consultation^L",
    "R20^Suture^L",
    "R30^Imaging^L",
    "R40^Infusion^L",
];

/// Allergens.
pub(super) const ALLERGENS: [&str; 4] = ["G10^Penicillin^L", "G20^Peanut^L", "G30^Latex^L", "G40^Pollen^L"];

/// Severities of an allergy.
pub(super) const SEVERITIES: [&str; 3] = ["MI", "MO", "SV"];

/// Drugs.
pub(super) const DRUGS: [&str; 4] = [
    "M10^Amoxicillin^L",
    "M20^Ibuprofen^L",
    "M30^Metformin^L",
    "M40^Lisinopril^L",
];

/// Vaccines.
pub(super) const VACCINES: [&str; 3] = ["V10^Influenza^L", "V20^Tetanus^L", "V30^Measles^L"];

/// Insurance plans.
pub(super) const PLANS: [&str; 3] = ["BASIC^Basic plan^L", "PLUS^Plus plan^L", "CARE^Care plan^L"];

/// Reasons of an appointment.
pub(super) const VISITS: [&str; 4] = [
    "CHECK^Check-up^L",
    "FOLLOW^Follow-up^L",
    "IMG^Imaging^L",
    "VACC^Vaccination^L",
];

/// Patient classes, the common ones more often.
pub(super) const CLASSES: [&str; 6] = ["I", "I", "O", "O", "E", "P"];
