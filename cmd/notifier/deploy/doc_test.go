// Package deploy_test tries what is in this folder: the image, and compose.yaml with
// the balancer, roles and dashboards that it uses. It needs a Docker engine, and the
// images; what it does without, it says.
package deploy_test
