// Package buckets gives tests a server that speaks as much of S3 as a cold tier
// needs, strictly: every request is signed, a digest is held against what came,
// a conditional put is one, half an upload is nothing. It can be pulled away.
package buckets
