// SPDX-License-Identifier: Apache-2.0

// Package probes is the vocabulary of Trapline's probes: what a user asks for (Spec), the registers at a hit
// (Trapframe), the kernel's symbols (Symbols), what is measured (Stats), and how it is shown: as a Table, a histogram
// (WriteHist) or single events (Event). It is pure Go and builds on every OS; package loader places the probes.
package probes
