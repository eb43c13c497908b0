// Package servers gives tests throw-away database servers that are durable like
// real ones, small and quick to start. It also finds the services that
// scripts/install-deps has unpacked.
package servers
