from debian as Base
run true
copy --from=BASE /a /b
env a=b
