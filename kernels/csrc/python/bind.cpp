// Python module: conversion of arguments and results.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "convert.h"
#include "mms/isa.h"

void bind_isa(nb::module_& m) {
  m.def(
      "isas",
      [] {
        std::vector<std::string> names;
        for (const mms::Isa isa : mms::usable_isas()) names.emplace_back(mms::name_of(isa));
        return names;
      },
      "Return the usable instruction sets, slowest first.");
  m.def(
      "isa",
      [] { return std::string(mms::name_of(mms::current_isa())); },
      "Return the current instruction set.");
  m.def(
      "use_isa",
      [](const std::string& name) { mms::use_isa(mms::isa_named(name)); },
      "name"_a,
      "Select an instruction set.");
}

NB_MODULE(_ctc, m) {
  m.doc() = "CTC kernels in C++; use mms_kernels instead.";
  bind_isa(m);
  bind_align(m);
  bind_greedy(m);
  bind_beam(m);
  bind_hotwords(m);
  bind_lm(m);
  bind_lexicon(m);
  bind_widen(m);
  bind_device(m);
}
