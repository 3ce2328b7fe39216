"""The Lotmark protocol: everything two parties must agree on byte for byte."""
