"""What tests are made with: samples, stand-ins, and readers of compiled code."""
