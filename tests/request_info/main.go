// What kube-apiserver itself makes of a request: fills in the table beside this file, whose rows are a method, a target and
// then what RequestInfoFactory reads. From dev/cluster, which pins the version:
//
//	go run ../../tests/request_info/main.go < ../../tests/request_info/table.tsv > table.tsv
package main

import (
	"bufio"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
)

func main() {
	// The prefixes that kube-apiserver sets.
	factory := &request.RequestInfoFactory{
		APIPrefixes:          sets.NewString("api", "apis"),
		GrouplessAPIPrefixes: sets.NewString("api"),
	}
	rows := bufio.NewScanner(os.Stdin)
	for rows.Scan() {
		cells := strings.Split(rows.Text(), "\t")
		method, target := cells[0], cells[1]
		address, err := url.ParseRequestURI(target)
		if err != nil {
			log.Fatal(err)
		}
		info, err := factory.NewRequestInfo(&http.Request{Method: method, URL: address})
		if err != nil {
			log.Fatal(err)
		}
		read := []string{method, target, info.Verb, "", "", "", "", "", ""}
		if info.IsResourceRequest {
			read = []string{
				method, target, info.Verb, info.APIGroup, info.APIVersion, info.Namespace,
				info.Resource, info.Subresource, info.Name,
			}
		}
		fmt.Println(strings.Join(read, "\t"))
	}
	if err := rows.Err(); err != nil {
		log.Fatal(err)
	}
}
