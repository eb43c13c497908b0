// Package servers gives tests throw-away database servers that are durable like
// real ones, small and quick to start.
package servers
