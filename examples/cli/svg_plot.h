// SPDX-License-Identifier: Apache-2.0
//
// Line plots as SVG, readable without any other file.
#ifndef CODEGEN_EXAMPLES_CLI_SVG_PLOT_H_
#define CODEGEN_EXAMPLES_CLI_SVG_PLOT_H_

#include <string>
#include <vector>

namespace cli {

struct Curve {
  std::string name;
  std::vector<double> values;  // one for each x
};

enum class YAxis { kLinear, kLogarithmic };  // the first from 0

struct Panel {
  std::string title;
  std::string y_label;  // with the unit
  YAxis y_axis = YAxis::kLinear;
  std::vector<Curve> curves;  // at most kCurves
};

// Curves that a panel tells apart.
inline constexpr int kCurves = 4;

// Panels side by side over the same x, which is logarithmic and marked at each of its values.
struct Plot {
  std::string title;
  std::string x_label;
  std::vector<double> x;  // each above 0
  std::vector<Panel> panels;
};

// Returns an SVG document.
std::string ToSvg(const Plot& plot);

}  // namespace cli

#endif  // CODEGEN_EXAMPLES_CLI_SVG_PLOT_H_
