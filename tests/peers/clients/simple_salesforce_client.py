"""simple-salesforce: the three logins, describe, queries, Bulk 2.0 and Bulk v1.

It speaks HTTPS only and knows the login hosts by name; `HTTPS_PROXY` and `REQUESTS_CA_BUNDLE`, which the runner sets, lead
it to the sandbox.
"""

import csv
import io

from simple_salesforce import Salesforce

from driver import Driver, flat


def rows_of(pages):
    return [row for page in pages for row in csv.DictReader(io.StringIO(page, newline=""))]


def who(salesforce):
    return salesforce.query("SELECT Id, Name FROM Organization")["records"][0]["Id"]


def logins(driver):
    """A client for each way to log in; the last is used for everything else."""
    settings = driver.settings
    app = {"consumer_key": settings["client_id"]}
    ways = {
        "login with password (SOAP)": {
            "username": settings["username"],
            "password": settings.get("password"),
            "security_token": settings.get("security_token"),
        },
        "login with client credentials": app | {"consumer_secret": settings["client_secret"], "domain": "peers.my"},
        "login with JWT": app | {"username": settings["username"], "privatekey_file": settings["jwt_key_file"]},
    }
    salesforce = None
    for name, words in ways.items():
        with driver.operation(name) as operation:
            salesforce = Salesforce(**words)
            operation.check(who(salesforce) == settings["org_id"], "it is another org")
    return salesforce


def reads(driver):
    salesforce = logins(driver)
    with driver.operation("describe") as operation:
        for table, chosen in driver.settings["tables"].items():
            described = getattr(salesforce, chosen["object"]).describe()
            operation.describes(table, {field["name"]: field["type"] for field in described["fields"]})
    with driver.operation("query") as operation:
        answer = salesforce.query(driver.soql("user"))
        operation.check(answer["done"], "the users don't fit on one page")
        operation.read("user", "rest", map(flat, answer["records"]))
    with driver.operation("query_all") as operation:
        first = salesforce.query(driver.soql("contact"))
        operation.check(not first["done"], "there is only one page")
        for table in ("account", "contact"):
            operation.read(table, "rest", map(flat, salesforce.query_all(driver.soql(table))["records"]))
    with driver.operation("bulk2 query") as operation:
        pages = list(salesforce.bulk2.Contact.query(driver.soql("contact"), max_records=700))
        operation.check(len(pages) > 1, "there is only one page")
        operation.read("contact", "csv", rows_of(pages))
        operation.read("account", "csv", rows_of(salesforce.bulk2.Account.query(driver.soql("account"))))
    with driver.operation("bulk v1 query") as operation:
        for table in ("account", "contact", "user"):
            bulk = getattr(salesforce.bulk, driver.settings["tables"][table]["object"])
            operation.read(table, "bulk v1", map(flat, bulk.query(driver.soql(table))))


def writes(driver):
    salesforce = Salesforce(
        consumer_key=driver.settings["client_id"], consumer_secret=driver.settings["client_secret"], domain="peers.my"
    )
    with driver.operation("create, update, upsert, delete") as operation:
        account = salesforce.Account
        made = [account.create({"Name": f"simple-salesforce {at}", "AnnualRevenue": at * 1000.0})["id"] for at in range(3)]
        operation.check(account.update(made[1], {"Phone": "+44 20 1", "Website": None}) == 204, "it isn't updated")
        operation.check(account.delete(made[2]) == 204, "it isn't deleted")
        operation.check(account.get(made[1])["Phone"] == "+44 20 1", "it isn't what was written")
        subscription = salesforce.Subscription__c
        for number, status in ((201, "Draft"), (200, "Active")):
            values = {"Status__c": status, "Account__c": made[0], "Start_Date__c": "2025-01-31"}
            answer = subscription.upsert("External_Id__c/simple-one", values, raw_response=True)
            operation.check(answer.status_code == number, f"the upsert ended with {answer.status_code}")
        operation.wrote("account", "Name", [
            {"Id": made[0], "Name": "simple-salesforce 0", "AnnualRevenue": 0},
            {"Id": made[1], "Name": "simple-salesforce 1", "AnnualRevenue": 1000, "Phone": "+44 20 1"},
            {"Name": "simple-salesforce 2", "deleted": True},
        ])
        operation.wrote("subscription__c", "External_Id__c", [values | {"External_Id__c": "simple-one"}])
    with driver.operation("bulk2 upsert") as operation:
        for status in ("Draft", "Renewed"):
            records = [
                {"External_Id__c": f"simple-{at}", "Account__c": made[0], "Status__c": status, "Seats__c": at}
                for at in range(120)
            ]
            jobs = salesforce.bulk2.Subscription__c.upsert(records=records, external_id_field="External_Id__c")
            done = sum(job["numberRecordsProcessed"] - job["numberRecordsFailed"] for job in jobs)
            operation.check(done == len(records), f"the jobs are {jobs}")
        operation.wrote("subscription__c", "External_Id__c", records)
    with driver.operation("bulk v1 insert and update") as operation:
        records = [{"Name": f"simple-salesforce v1 {at}", "NumberOfEmployees": at} for at in range(60)]
        made = salesforce.bulk.Account.insert(records)
        operation.check(all(one["success"] for one in made), f"the results are {made}")
        changed = [{"Id": one["id"], "Industry": "Media"} for one in made]
        results = salesforce.bulk.Account.update(changed)
        operation.check(all(one["success"] for one in results), f"the results are {results}")
        operation.wrote("account", "Name", [record | change for record, change in zip(records, changed)])


def main():
    driver = Driver()
    {"read": reads, "write": writes}[driver.phase](driver)


main()
