"""The standard vocabularies of EPCIS events: bare names, their web URIs, their older URNs.

In JSON-LD a standard value is a bare name (``shipping``), in XML a URI. Both are the same value.
Source of the names: GS1 Core Business Vocabulary 2.0 and the GS1 Web Vocabulary.
"""

from typing import NamedTuple

CBV = "https://ref.gs1.org/cbv/"
GS1 = "https://gs1.org/voc/"


class Vocabulary(NamedTuple):
    """The standard values that one member of an event may have."""

    what: str
    stem: str  # of the web URI: stem and name
    urn_stem: str  # of the URN of CBV 1; empty: it has none
    names: frozenset[str]

    def uri(self, value: str) -> str:
        """Return the web URI of a standard value, in whichever form; any other value as it is."""
        name = self.bare(value)
        return self.stem + name if name in self.names else value

    def bare(self, value: str) -> str:
        """Return the bare name of a standard value, in whichever form; any other value as it is."""
        for stem in (self.stem, self.urn_stem):
            if stem and value.startswith(stem) and value.removeprefix(stem) in self.names:
                return value.removeprefix(stem)
        return value


def _vocabulary(what: str, stem: str, urn: str, names: str) -> Vocabulary:
    urn_stem = f"urn:epcglobal:cbv:{urn}:" if urn else ""
    return Vocabulary(what, stem, urn_stem, _names(names))


def _names(names: str) -> frozenset[str]:
    return frozenset(names.split())


BUSINESS_STEP = _vocabulary(
    "business step",
    CBV + "BizStep-",
    "bizstep",
    """
    accepting arriving assembling collecting commissioning consigning creating_class_instance
    cycle_counting decommissioning departing destroying disassembling dispensing encoding
    entering_exiting holding inspecting installing killing loading other packing picking
    receiving removing repackaging repairing replacing reserving retail_selling sampling
    sensor_reporting shipping staging_outbound stock_taking stocking storing transporting
    unloading unpacking void_shipping
    """,
)
DISPOSITION = _vocabulary(
    "disposition",
    CBV + "Disp-",
    "disp",
    """
    active available completeness_inferred completeness_verified conformant container_closed
    container_open damaged destroyed dispensed disposed encoded expired in_progress in_transit
    inactive mismatch_class mismatch_instance mismatch_quantity needs_replacement
    no_pedigree_match non_conformant non_sellable_other partially_dispensed recalled reserved
    retail_sold returned sellable_accessible sellable_not_accessible stolen unavailable
    unknown
    """,
)
TRANSACTION_TYPE = _vocabulary(
    "business transaction type",
    CBV + "BTT-",
    "btt",
    """
    bol cert desadv inv pedigree po poc prodorder recadv rma testprd testres upevt
    """,
)
SOURCE_TYPE = _vocabulary(
    "source or destination type",
    CBV + "SDT-",
    "sdt",
    """
    location owning_party possessing_party
    """,
)
ERROR_REASON = _vocabulary(
    "error reason",
    CBV + "ER-",
    "er",
    """
    did_not_occur incorrect_data
    """,
)
COMPONENT = _vocabulary(
    "component",
    CBV + "Comp-",
    "",
    """
    altitude axial_distance azimuth easting elevation_angle height latitude longitude northing
    polar_angle spherical_radius x y z
    """,
)
MEASUREMENT = _vocabulary(
    "measurement type",
    GS1,
    "",
    """
    AbsoluteHumidity AbsorbedDose AbsorbedDoseRate Acceleration Altitude AmountOfSubstance
    AmountOfSubstancePerUnitVolume Angle AngularAcceleration AngularMomentum AngularVelocity
    Area Capacitance Conductance Conductivity Count Density Dimensionless DoseEquivalent
    DoseEquivalentRate DynamicViscosity ElectricCharge ElectricCurrent ElectricCurrentDensity
    ElectricFieldStrength Energy Exposure Force Frequency Illuminance Inductance Irradiance
    KinematicViscosity Length LinearMomentum Luminance LuminousFlux LuminousIntensity
    MagneticFlux MagneticFluxDensity MagneticVectorPotential Mass MassConcentration
    MassFlowRate MassPerAreaTime MemoryCapacity MolalityOfSolute MolarEnergy MolarMass
    MolarVolume Power Pressure RadiantFlux RadiantIntensity Radioactivity RelativeHumidity
    Resistance Resistivity SolidAngle SpecificVolume Speed SurfaceDensity SurfaceTension
    Temperature Time Torque Voltage Volume VolumeFlowRate VolumeFraction VolumetricFlux
    Wavenumber
    """,
)
EXCEPTION = _vocabulary(
    "sensor alert",
    GS1,
    "",
    """
    ALARM_CONDITION ERROR_CONDITION
    """,
)
# What GS1's context gives a meaning to in an EPCIS document.
STANDARD_TERMS = _names(
    """
    id type baseURL ObjectEvent AggregationEvent TransformationEvent AssociationEvent
    TransactionEvent Collection member eventTime recordTime eventTimeZoneOffset action
    certificationInfo bizStep disposition bizLocation readPoint transformationID epcList sourceList
    destinationList persistentDisposition quantity epcClass uom quantityList bizTransactionList
    parentID childEPCs childQuantityList inputEPCList outputEPCList inputQuantityList
    outputQuantityList sensorElementList errorDeclaration eventID creationDate sender receiver
    instanceIdentifier schemaVersion ilmd EPCISDocument EPCISQueryDocument epcisHeader masterData
    vocabularyList epcisBody queryResults subscriptionID queryName resultsBody eventList children
    """
)
