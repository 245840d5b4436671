// SPDX-License-Identifier: Apache-2.0
#include "svg_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

namespace cli {
namespace {

// Pixels.
constexpr double kPanelWidth = 460;
constexpr double kHeight = 420;
constexpr double kLeft = 70;  // of a panel, for the numbers and the label of y
constexpr double kRight = 16;
constexpr double kTop = 104;  // for titles and names
constexpr double kBottom = 52;

// Colour and dashes tell curves apart also in print and for the colour-blind.
struct Look {
  const char* color;
  const char* dashes;
};
constexpr Look kLooks[kCurves] = {
    {"#1a7f5a", "none"}, {"#1a7f5a", "5 3"}, {"#e08e2b", "none"}, {"#e08e2b", "5 3"}};

std::string Escape(std::string_view text) {
  std::string escaped;
  for (const char byte : text) {
    switch (byte) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      default:
        escaped += byte;
    }
  }
  return escaped;
}

// `more` are further attributes.
std::string Text(double x, double y, std::string_view text, std::string_view more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" fill=\"#222\" {}>{}</text>\n", x, y, more,
                     Escape(text));
}

std::string Line(double x1, double y1, double x2, double y2, std::string_view color) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1, x2,
      y2, color);
}

// The least of 1, 2 and 5 times a power of ten that is not below `value`.
double RoundUp(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (value <= factor * power * (1 + 1e-9)) return factor * power;
  }
  return 10 * power;
}

// Where a value lies between the ends of an axis, in [0, 1], and which values are marked.
struct Scale {
  YAxis kind = YAxis::kLinear;
  double low = 0;
  double high = 1;
  std::vector<double> ticks = {};

  double Place(double value) const {
    if (kind == YAxis::kLinear) return (value - low) / (high - low);
    return std::log(std::max(value, low) / low) / std::log(high / low);
  }
};

// From 0, with four to six marks.
Scale LinearScale(double most) {
  const double step = RoundUp(most > 0 ? most / 5 : 0.2);
  Scale scale{.high = step * std::max(std::ceil(most / step), 1.0)};
  for (double tick = 0; tick <= scale.high + step / 2; tick += step) scale.ticks.push_back(tick);
  return scale;
}

// Whole decades around the values above 0.
Scale LogarithmicScale(double least, double most) {
  Scale scale{.kind = YAxis::kLogarithmic};
  if (most > 0) {
    scale.low = std::pow(10, std::floor(std::log10(least)));
    scale.high = std::max(std::pow(10, std::ceil(std::log10(most))), 10 * scale.low);
  } else {
    scale.low = 0.1;
  }
  for (double tick = scale.low; tick <= 1.5 * scale.high; tick *= 10) scale.ticks.push_back(tick);
  return scale;
}

Scale ScaleOf(const Panel& panel) {
  double least = std::numeric_limits<double>::max();
  double most = 0;
  for (const Curve& curve : panel.curves) {
    for (const double value : curve.values) {
      if (value > 0) least = std::min(least, value);
      most = std::max(most, value);
    }
  }
  return panel.y_axis == YAxis::kLinear ? LinearScale(most) : LogarithmicScale(least, most);
}

// Draws one panel whose left edge is at `left`.
class PanelDrawing {
 public:
  PanelDrawing(const Plot& plot, const Panel& panel, double left)
      : plot_(plot),
        panel_(panel),
        left_(left + kLeft),
        right_(left + kPanelWidth - kRight),
        bottom_(kHeight - kBottom),
        y_(ScaleOf(panel)) {}

  std::string Draw() const {
    std::string svg = Text(left_, 48, panel_.title, "font-weight=\"bold\"") + Axes();
    for (std::size_t i = 0; i < panel_.curves.size(); ++i)
      svg += Drawn(panel_.curves[i], kLooks[i]) + Name(panel_.curves[i], kLooks[i], i);
    return svg;
  }

 private:
  // A point alone lies in the middle.
  double X(double x) const {
    const auto [least, most] = std::ranges::minmax(plot_.x);
    if (least == most) return (left_ + right_) / 2;
    constexpr double kMargin = 12;
    const double share = std::log(x / least) / std::log(most / least);
    return left_ + kMargin + share * (right_ - left_ - 2 * kMargin);
  }
  double Y(double y) const { return bottom_ - y_.Place(y) * (bottom_ - kTop); }

  std::string Axes() const {
    std::string svg;
    for (const double tick : y_.ticks) {
      svg += Line(left_, Y(tick), right_, Y(tick), tick == y_.low ? "#999" : "#ddd");
      svg += Text(left_ - 6, Y(tick) + 4, fmt::format("{:g}", tick), "text-anchor=\"end\"");
    }
    for (const double x : plot_.x) {
      svg += Line(X(x), bottom_, X(x), bottom_ + 4, "#999");
      svg += Text(X(x), bottom_ + 18, fmt::format("{:g}", x), "text-anchor=\"middle\"");
    }
    const double middle = (kTop + bottom_) / 2;
    const double label = left_ - kLeft + 16;
    svg += Text((left_ + right_) / 2, bottom_ + 40, plot_.x_label, "text-anchor=\"middle\"");
    return svg + Text(label, middle, panel_.y_label,
                      fmt::format("text-anchor=\"middle\" transform=\"rotate(-90 {:.1f} {:.1f})\"",
                                  label, middle));
  }

  std::string Drawn(const Curve& curve, const Look& look) const {
    std::string points;
    std::string dots;
    for (std::size_t i = 0; i < plot_.x.size(); ++i) {
      const double x = X(plot_.x[i]);
      const double y = Y(curve.values[i]);
      points += fmt::format("{}{:.1f},{:.1f}", i > 0 ? " " : "", x, y);
      dots += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n", x, y,
                          look.color);
    }
    return fmt::format(
               "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" "
               "stroke-dasharray=\"{}\"/>\n",
               points, look.color, look.dashes) +
           dots;
  }

  // Two names a line, above the panel.
  std::string Name(const Curve& curve, const Look& look, std::size_t i) const {
    const double x = left_ + 165 * static_cast<double>(i / 2);
    const double y = 68 + 18 * static_cast<double>(i % 2);
    return fmt::format(
               "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" "
               "stroke-width=\"2\" stroke-dasharray=\"{}\"/>\n",
               x, y - 4, x + 22, y - 4, look.color, look.dashes) +
           Text(x + 28, y, curve.name);
  }

  const Plot& plot_;
  const Panel& panel_;
  const double left_;
  const double right_;
  const double bottom_;
  const Scale y_;
};

}  // namespace

std::string ToSvg(const Plot& plot) {
  const double width = kPanelWidth * static_cast<double>(plot.panels.size());
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" "
      "height=\"{1}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n",
      width, kHeight);
  svg += Text(16, 22, plot.title, "font-size=\"14\"");
  for (std::size_t i = 0; i < plot.panels.size(); ++i)
    svg += PanelDrawing(plot, plot.panels[i], kPanelWidth * static_cast<double>(i)).Draw();
  return svg + "</svg>\n";
}

}  // namespace cli
