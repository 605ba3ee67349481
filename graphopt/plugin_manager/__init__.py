"""Plugins: what is installed, what it offers, and what it says about itself. Import from here, not from the modules inside."""

from __future__ import annotations

from graphopt.plugin_manager.answers import PluginInfo, ReportSection
from graphopt.plugin_manager.listing import KINDS
from graphopt.plugin_manager.manager import PluginManager

__all__ = ["KINDS", "PluginInfo", "PluginManager", "ReportSection"]
