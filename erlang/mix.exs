defmodule Distlink.MixProject do
  use Mix.Project

  # The application's own description is src/distlink.app.src; mix makes the
  # same one from here.
  def project do
    [
      app: :distlink,
      version: "0.1.0",
      language: :erlang,
      description: "Erlang distribution over UDP on reserved streams",
      package: [licenses: ["Apache-2.0"], links: %{}, files: ~w(src bin mix.exs rebar.config README.md)],
      deps: []
    ]
  end

  # A carrier is loaded before applications start: see README, releases.
  def application, do: [registered: [:distlink]]
end
