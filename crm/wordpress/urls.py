"""Route WordPress's own URLs: the index of its REST API, users, and the page that authorizes."""

from django.urls import path, re_path

from config.api.routers import FluentRouter
from crm.wordpress.authorize import authorize_application
from crm.wordpress.views import UserViewSet, index

router = FluentRouter()
router.register("wp-json/wp/v2/users", UserViewSet, basename="wordpress-user")
urlpatterns = [
    re_path(r"^wp-json/?$", index),
    path("wp-admin/authorize-application.php", authorize_application, name="authorize-application"),
    *router.urls,
]
